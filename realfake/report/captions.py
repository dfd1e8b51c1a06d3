"""The standing words of a report: what each figure shows, how its marks read, what the terms mean.

Here: text that does not depend on any number. Not here: sentences with numbers (`sentences`), the page (`report`).
"""

READING = (
    "A dot with a bar is a cell of the study with its 95 % interval; a hollow one is one seed. An arrow starts at the "
    "bound of a value that lies beyond what was measured; × at the bottom is a withheld answer. A thin line without a "
    "band is a law that the lack-of-fit test rejects. "
)
CAPTIONS = {
    "equivalent": "What synthetic images are worth: added real equivalent in {response} against volume. Line and band: "
    "the fitted law with its 95 % band, which spans the laws that predict as well. Crosses (+): a cell read off the "
    "real-only ladder, without a law. Hatched: beyond the real-only ladder, where nothing was measured. ",
    "response": "{responses} on the sealed test set against volume. Line and band: the fitted law. Small "
    "dots: single trials. Grey: real images only, at the same number. × at the top: a diverged trial. ",
    "value": "Value of one more synthetic image, in real images, by the fitted law. ",
    "contours": "Mixtures of the same expected {response} by the fitted law, with the 95 % band of the real images "
    "that each needs. The bold line is what the law expects of the largest mixture. A broken line joins all that costs "
    "as much as its mark, the cheapest mixture on the bold line, if a synthetic image costs that share of a real one "
    "and nothing else costs anything; the prices are examples. Tinted: no mixture was measured there, and the law "
    "alone speaks. ",
    "laws": "Added real equivalent in {response} at the largest mixture, as each law that was tried has it, with 95 % "
    "intervals. Filled: laws that predict held-out cells as well as the best one; hollow: the others. Band: what the "
    "filled ones span together. ",
    "residuals": "How far the cells (with their intervals) and trials (small dots) lie above or below the {response} "
    "that the law expects, in per cent of it. ",
    "ladder": "Real images only: what more real images do. Small dots: single trials; line and band: the fitted law. ",
}
DEFINITIONS = (
    (
        "Added real equivalent",
        "How many real images would have lowered the response of the same recipe as much as the synthetic ones did; "
        "negative where they hurt. It is read off real-only training: f⁻¹(response) − n_real.",
    ),
    (
        "Value, average value",
        "Real images that one more synthetic image is worth at that volume, and the added real equivalent divided by "
        "the volume. Either may be negative.",
    ),
    (
        "Censored",
        "“> 800” says that the answer lies beyond the real sizes that were measured; how far is not known. A bracket "
        "may be open in the same way.",
    ),
    ("Resolution", "The smallest added real equivalent that this study could have told from 0, at that cell."),
    (
        "Real budget",
        "Every real image that a trial saw, directly or through its generator. Without it an exchange rate means "
        "nothing.",
    ),
)
