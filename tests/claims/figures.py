#!/usr/bin/env python3
"""Three figures of what capsules do, for papers and lessons, from a running capsnetd.

    tests/claims/figures.py [--url http://127.0.0.1:8080] [--out .] [DIGIT.png ...]

routing.png  which places vote for the winner and for the runner-up, round by round
parts.png    a digit whole and with its parts in the wrong places: length and verdict
pair.png     two digits over each other, drawn apart by their capsules; needs the model
             capsnet-multimnist beside the first

The digits are any PNGs; those of tests/digits if none are named.  Needs Pillow.
"""
import argparse
import base64
import io
import pathlib
import urllib.parse

from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageOps

from service import Service, Trouble, png, run

DIGITS = pathlib.Path(__file__).resolve().parent.parent / "digits"
PAIRS = "capsnet-multimnist"
INK, QUIET, LINE = (29, 29, 27), (101, 100, 95), (222, 219, 211)
FOR, AGAINST = (0, 96, 192), (224, 112, 0)  # told apart by every kind of colour vision
GOOD, BAD = (29, 107, 50), (163, 59, 18)
RED, GREEN = (255, 74, 61), (0, 224, 138)
TILE = 224     # pixels of a picture, about
GAP = 24
TEXT = 20      # pixels of the letters
SPREAD = 1.1   # of a place's share in a map, in the picture's pixels
SHARP = 8      # pixels drawn for each of the picture's


def font(size=TEXT):
    for name in ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            pass
    return ImageFont.load_default()


FONT = font()


class Sheet:
    """A grid of pictures with lines of text beneath, on white; columns may have heads and
    rows names."""

    def __init__(self, heads, names, lines):
        self.left = GAP + max([FONT.getlength(n) for n in names] + [-GAP]) + GAP
        self.top = GAP + (TEXT + GAP // 2 if any(heads) else 0)
        self.step = TILE + GAP + lines * (TEXT + 6)
        self.image = Image.new("RGB", (int(self.left + len(heads) * (TILE + GAP)),
                                       self.top + len(names) * self.step + GAP // 2), "white")
        self.draw = ImageDraw.Draw(self.image)
        for k, head in enumerate(heads):
            self.draw.text((self.left + k * (TILE + GAP), GAP), head, INK, FONT)
        for k, name in enumerate(names):
            self.draw.text((GAP, self.top + k * self.step + TILE / 2 - TEXT / 2), name, QUIET, FONT)

    def add(self, row, column, picture, *lines):
        """lines are texts or pairs of text and colour."""
        x, y = int(self.left + column * (TILE + GAP)), self.top + row * self.step
        self.image.paste(picture.convert("RGB").resize((TILE, TILE), Image.Resampling.NEAREST
                         if picture.width < TILE else Image.Resampling.LANCZOS), (x, y))
        self.draw.rectangle((x - 1, y - 1, x + TILE, y + TILE), outline=LINE)
        for k, line in enumerate(lines):
            text, colour = line if isinstance(line, tuple) else (line, QUIET)
            self.draw.text((x, y + TILE + 6 + k * (TEXT + 6)), text, colour, FONT)

    def save(self, path):
        self.image.save(path)
        print(path)


def decoded(data):
    return Image.open(io.BytesIO(data)).convert("L")


def normalized(service, digit):
    """The picture as the network sees it."""
    return decoded(service.ask("POST", "/reconstruct?debug=normalized", digit)[1])


# ---- Routing ------------------------------------------------------------------------

def bells(places, pixels, shape):
    """How much of a place's share each row, or column, of a map gets."""
    field = shape["conv1_kernel"] + shape["primary_kernel"] - 1
    middles = [i * shape["primary_stride"] + field / 2 for i in range(places)]
    return [[2.718281828 ** (-(((p + .5) / SHARP - m) / SPREAD) ** 2 / 2) for p in range(pixels)]
            for m in middles]


def vote_map(seen, votes, most, shape):
    """The digit, dark on light, with the votes over it; most is the strongest colour."""
    width, height = seen.width * SHARP, seen.height * SHARP
    down, across = bells(len(votes), height, shape), bells(len(votes[0]), width, shape)
    lines = [[sum(v * b[x] for v, b in zip(row, across)) for x in range(width)] for row in votes]
    digit = ImageOps.invert(seen).resize((width, height), Image.Resampling.NEAREST).load()
    image = Image.new("RGB", (width, height))
    pixels = image.load()
    for y in range(height):
        shares = [d[y] for d in down]
        for x in range(width):
            share = sum(s * line[x] for s, line in zip(shares, lines))
            colour, part = (FOR if share > 0 else AGAINST), min(1, abs(share) / most) ** .5
            gray = 95 + digit[x, y] * 160 // 255
            pixels[x, y] = tuple(int(gray * (1 - .85 * part) + c * .85 * part) for c in colour)
    return image


def routing_figure(service, digit, path):
    model = service.json("/model")
    shape, labels = model["shape"], model["labels"]
    prediction = service.json("/classify?routing=1", digit)["predictions"][0]
    rounds = prediction["routing"]["rounds"]
    lengths = prediction["probabilities"]
    pair = sorted(range(len(lengths)), key=lambda j: -lengths[j])[:2]
    most = max(abs(v) for r in rounds for j in pair for row in r["votes"][j] for v in row) or 1
    seen = normalized(service, digit)
    sheet = Sheet([f"Round {r + 1}" for r in range(len(rounds))],
                  [f"for {labels[j]}" for j in pair], 2)
    for row, j in enumerate(pair):
        for column, r in enumerate(rounds):
            total = sum(v for line in r["votes"][j] for v in line)
            sheet.add(row, column, vote_map(seen, r["votes"][j], most, shape),
                      f"adds up to {total:+.2f}".replace("-", "\u2212"), (f"length {r['lengths'][j]:.2f}", INK))
    sheet.save(path)


# ---- Parts ----------------------------------------------------------------------------

def exchanged(picture, columns, rows):
    """Every piece of columns x rows in the place of the one across."""
    w, h = picture.width // columns, picture.height // rows
    out = Image.new("L", picture.size)
    for x in range(0, w * columns, w):
        for y in range(0, h * rows, h):
            out.paste(picture.crop((x, y, x + w, y + h)),
                      (w * (columns - 1) - x, h * (rows - 1) - y))
    return out


def parts_figure(service, digits, path):
    kinds = [("whole", 1, 1), ("left and right", 2, 1), ("upper and lower", 1, 2),
             ("quarters exchanged", 2, 2)]
    labels = service.json("/model")["labels"]
    sheet = Sheet([name for name, *_ in kinds], [""] * len(digits), 2)
    for row, digit in enumerate(digits):
        whole = normalized(service, digit)
        label = None
        for column, (_, columns, rows) in enumerate(kinds):
            picture = exchanged(whole, columns, rows)
            p = service.json("/classify?normalize=none", png(picture))["predictions"][0]
            if label is None:
                label = p["class"]
            verdict = {True: ("a digit it knows", GOOD), False: ("no digit it knows", BAD),
                       None: ("", QUIET)}[p["in_distribution"]]
            sheet.add(row, column, picture,
                      (f"capsule {labels[label]}: {p['probabilities'][label]:.2f}", INK), verdict)
    sheet.save(path)


# ---- Two digits -------------------------------------------------------------------------

def overlapped(one, other, width, height):
    """Two digits over each other, four pixels aside, on a picture of that size."""
    pictures = []
    for digit, aside in ((one, -1), (other, 1)):
        picture = Image.new("L", (width, height))
        free = min(4, max(2, (width - digit.width) // 2))
        picture.paste(digit, ((width - digit.width) // 2 + aside * free,
                              (height - digit.height) // 2 + aside * free // 2))
        pictures.append(picture)
    return ImageChops.lighter(*pictures)


def coloured(picture, colour):
    return ImageOps.colorize(picture, "black", colour)


def pair_figure(service, digits, path):
    models = [m["name"] for m in service.json("/models")["models"]]
    if PAIRS not in models:
        raise Trouble(f"pair.png is not drawn: the server has no model {PAIRS}; give its file "
                      f"to capsnetd with a further --weights.")
    query = f"model={urllib.parse.quote(PAIRS)}"
    shape = service.json(f"/model?{query}")["shape"]
    seen = [normalized(service, d) for d in digits]
    pairs = list(zip(seen, seen[1:] + seen[:1]))
    sheet = Sheet(["what it sees", "redrawn", "first capsule", "second capsule"], [""] * len(pairs), 1)
    for row, (one, other) in enumerate(pairs):
        picture = overlapped(one, other, shape["width"], shape["height"])
        answer = service.json(f"/reconstruct?class=detected&normalize=none&{query}", png(picture))
        found = answer["images"][:2]
        drawn = [coloured(decoded(base64.b64decode(f["image"])), c) for f, c in zip(found, (RED, GREEN))]
        black = Image.new("RGB", picture.size)
        sheet.add(row, 0, picture)
        sheet.add(row, 1, ImageChops.add(*(drawn + [black, black])[:2]))
        for k in range(2):
            if k < len(found):
                sheet.add(row, 2 + k, drawn[k], f"{found[k]['label']}, length {found[k]['probability']:.2f}")
            else:
                sheet.add(row, 2 + k, black, "none")
    sheet.save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--out", default=".", type=pathlib.Path)
    parser.add_argument("digits", nargs="*", metavar="DIGIT.png")
    options = parser.parse_args()
    service = Service(urllib.parse.urlsplit(options.url).netloc)
    digits = [pathlib.Path(name).read_bytes()
              for name in options.digits or [DIGITS / f"digit-{n}.png" for n in (3, 7, 8)]]
    options.out.mkdir(parents=True, exist_ok=True)
    routing_figure(service, digits[0], options.out / "routing.png")
    parts_figure(service, digits, options.out / "parts.png")
    pair_figure(service, digits, options.out / "pair.png")


run(main)
