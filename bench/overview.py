"""Draw the README's picture: what tinyq does with a network, from float weights to C.

    python bench/overview.py > bench/overview.svg
"""
from tinyq.run.figures.svg import COLOURS, Picture

WIDTH, HEIGHT, MARGIN = 860, 232, 20
BOX, BOX_HEIGHT, TOP = 158, 92, 34
BLUE, RED, GREEN, PURPLE, _, GREY = COLOURS
STAGES = [
    ("float network", ["model.py or torchvision", "float32 weights"], GREY),
    ("constrained", ["weight = scale x level", "binary, ternary, shift"], BLUE),
    ("packed: .tq.h5", ["1 to 3 bits per weight", "float32, int16, int8"], GREEN),
    ("C99", ["integers only, no heap", "for microcontrollers"], PURPLE),
]
ARROWS = ["CBP, RPR, CoNNTrA", "pack", "export"]
LEDGER = ("ledger.jsonl: one hash-chained record per step",
          "verify the chain, replay steps bit for bit, check in float64, report")


def stage(picture, left, title, lines, colour):
    """Draw one box."""
    picture.bar(left, TOP, BOX, BOX_HEIGHT, colour)
    picture.bar(left + 2, TOP + 30, BOX - 4, BOX_HEIGHT - 32, "white")
    picture.text(left + BOX / 2, TOP + 20, title, 14, "middle", "white")
    for number, line in enumerate(lines):
        picture.text(left + BOX / 2, TOP + 54 + 20 * number, line, 11, "middle")


def arrow(picture, left, right, label):
    """Draw an arrow between two boxes, its label above."""
    y = TOP + BOX_HEIGHT / 2
    picture.line(left + 4, y, right - 4, y, "#222", 1.6)
    for dy in (-5, 5):
        picture.line(right - 12, y + dy, right - 4, y, "#222", 1.6)
    words = label.split(", ")
    for number, word in enumerate(words):
        picture.text((left + right) / 2, y - 10 - 14 * (len(words) - 1 - number), word, 11, "middle")


def overview():
    """Draw the four stages and the ledger under them."""
    picture = Picture(WIDTH, HEIGHT)
    gap = (WIDTH - 2 * MARGIN - BOX * len(STAGES)) / len(ARROWS)
    lefts = [MARGIN + number * (BOX + gap) for number in range(len(STAGES))]
    for left, (title, lines, colour) in zip(lefts, STAGES, strict=True):
        stage(picture, left, title, lines, colour)
    for left, right, label in zip(lefts, lefts[1:], ARROWS, strict=False):
        arrow(picture, left + BOX, right, label)
    ledger_width = lefts[1] + BOX - MARGIN
    picture.bar(MARGIN, 158, ledger_width, 52, RED)
    picture.bar(MARGIN + 2, 160, ledger_width - 4, 48, "white")
    picture.text(MARGIN + 12, 179, LEDGER[0], 12)
    picture.text(MARGIN + 12, 198, LEDGER[1], 11)
    for left in lefts[:2]:
        picture.line(left + BOX / 2, TOP + BOX_HEIGHT, left + BOX / 2, 158, RED, 1.2, "4 3")
    return str(picture)


if __name__ == "__main__":
    print(overview(), end="")
