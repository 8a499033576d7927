"""Every array annotation of `attn` and `experiments` is checked at run time under test."""

from jaxtyping import install_import_hook

# The hook stays for the whole session: it must be in place before the packages are imported.
install_import_hook(["attn", "experiments"], "beartype.beartype")
