"""The publications themselves."""

from experiments.ablations.papers.record import Paper

SUTSKEVER = Paper(
    key="sutskever2014",
    authors="Sutskever, Vinyals, Le",
    year=2014,
    title="Sequence to Sequence Learning with Neural Networks",
    source="arXiv:1409.3215",
)
BAHDANAU = Paper(
    key="bahdanau2014",
    authors="Bahdanau, Cho, Bengio",
    year=2014,
    title="Neural Machine Translation by Jointly Learning to Align and Translate",
    source="arXiv:1409.0473",
)
LUONG = Paper(
    key="luong2015",
    authors="Luong, Pham, Manning",
    year=2015,
    title="Effective Approaches to Attention-based Neural Machine Translation",
    source="arXiv:1508.04025",
)
CHENG = Paper(
    key="cheng2016",
    authors="Cheng, Dong, Lapata",
    year=2016,
    title="Long Short-Term Memory-Networks for Machine Reading",
    source="arXiv:1601.06733",
)
BRITZ = Paper(
    key="britz2017",
    authors="Britz, Goldie, Luong, Le",
    year=2017,
    title="Massive Exploration of Neural Machine Translation Architectures",
    source="arXiv:1703.03906",
)
VASWANI = Paper(
    key="vaswani2017",
    authors="Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin",
    year=2017,
    title="Attention Is All You Need",
    source="arXiv:1706.03762",
)
TREVETT = Paper(
    key="trevett2018",
    authors="Trevett",
    year=2018,
    title="PyTorch Seq2Seq",
    source="https://github.com/bentrevett/pytorch-seq2seq",
)
KREUTZER = Paper(
    key="kreutzer2019",
    authors="Kreutzer, Bastings, Riezler",
    year=2019,
    title="Joey NMT: A Minimalist NMT Toolkit for Novices",
    source="arXiv:1907.12484",
)
RADFORD = Paper(
    key="radford2019",
    authors="Radford, Wu, Child, Luan, Amodei, Sutskever",
    year=2019,
    title="Language Models are Unsupervised Multitask Learners",
    source="https://github.com/openai/gpt-2",
)
RAFFEL = Paper(
    key="raffel2019",
    authors="Raffel, Shazeer, Roberts, Lee, Narang, Matena, Zhou, Li, Liu",
    year=2019,
    title="Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
    source="arXiv:1910.10683",
)
SHAZEER = Paper(
    key="shazeer2019",
    authors="Shazeer",
    year=2019,
    title="Fast Transformer Decoding: One Write-Head is All You Need",
    source="arXiv:1911.02150",
)
MICHEL = Paper(
    key="michel2019",
    authors="Michel, Levy, Neubig",
    year=2019,
    title="Are Sixteen Heads Really Better than One?",
    source="arXiv:1905.10650",
)
VOITA = Paper(
    key="voita2019",
    authors="Voita, Talbot, Moiseev, Sennrich, Titov",
    year=2019,
    title="Analyzing Multi-Head Self-Attention: Specialized Heads Do the Heavy Lifting, the Rest "
    "Can Be Pruned",
    source="arXiv:1905.09418",
)
CLARK = Paper(
    key="clark2019",
    authors="Clark, Khandelwal, Levy, Manning",
    year=2019,
    title="What Does BERT Look At? An Analysis of BERT's Attention",
    source="arXiv:1906.04341",
)
SU = Paper(
    key="su2021",
    authors="Su, Lu, Pan, Murtadha, Wen, Liu",
    year=2021,
    title="RoFormer: Enhanced Transformer with Rotary Position Embedding",
    source="arXiv:2104.09864",
)
PRESS = Paper(
    key="press2021",
    authors="Press, Smith, Lewis",
    year=2021,
    title="Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation",
    source="arXiv:2108.12409",
)
AINSLIE = Paper(
    key="ainslie2023",
    authors="Ainslie, Lee-Thorp, de Jong, Zemlyanskiy, Lebrón, Sanghai",
    year=2023,
    title="GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints",
    source="arXiv:2305.13245",
)
