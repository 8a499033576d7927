// A larger view of a map, with its tokens and the weight under the pointer.
const dialog = document.querySelector("dialog");
const large = dialog.querySelector("img");
const status = dialog.querySelector("p");
let rows = [], columns = [], pixels = null;

for (const hint of document.querySelectorAll(".scripted")) hint.hidden = false;
document.body.classList.add("scripted");

function label(place, tokens) {
  place.replaceChildren(...tokens.map((token) => {
    const span = document.createElement("span");
    span.textContent = token;
    return span;
  }));
}

function open(button) {
  const grid = button.closest(".heads"), small = button.querySelector("img");
  rows = JSON.parse(grid.dataset.rows);
  columns = JSON.parse(grid.dataset.columns);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns.length, rows.length];
  const context = canvas.getContext("2d");
  context.drawImage(small, 0, 0);
  pixels = context.getImageData(0, 0, columns.length, rows.length).data;
  const room = Math.min((innerWidth - 220) / columns.length, (innerHeight - 260) / rows.length);
  dialog.style.setProperty("--cell", `${Math.max(11, Math.min(26, Math.floor(room)))}px`);
  dialog.style.setProperty("--across", columns.length);
  dialog.style.setProperty("--down", rows.length);
  label(dialog.querySelector(".across"), columns);
  label(dialog.querySelector(".down"), rows);
  dialog.querySelector("h3").textContent = small.alt;
  status.textContent = "Move over a cell for its weight.";
  large.src = small.src;
  large.alt = small.alt;
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest(".head button");
  if (button) open(button);
  else if (event.target === dialog) dialog.close();
});

large.addEventListener("mousemove", (event) => {
  const box = large.getBoundingClientRect();
  const column = Math.min(columns.length - 1, Math.floor((event.clientX - box.left) / box.width * columns.length));
  const row = Math.min(rows.length - 1, Math.floor((event.clientY - box.top) / box.height * rows.length));
  if (row < 0 || column < 0) return;
  const cover = pixels[4 * (row * columns.length + column) + 3] / 255;
  status.textContent = `${rows[row]} (${row + 1}) looks at ${columns[column]} (${column + 1}): ${(cover * cover).toFixed(2)}`;
});
