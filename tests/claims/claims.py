#!/usr/bin/env python3
"""What is said of capsules, measured through the service on MNIST's first test images.

    tests/claims/claims.py [--program build/capsnetd] [--weights FILE] [--data data]
                           [--images 1000]

Starts servers of its own and prints tables in Markdown; README.md beside it has them.
Needs Pillow, which moves the digits.
"""
import argparse
import heapq
import math
import operator
import random
import statistics
import tempfile

from PIL import Image, ImageChops

from service import Server, Trouble, run, test_images, with_rounds

SIDE = 28
CLASSES = 10
POSE = 16
SEED = 1
ROUNDS = range(1, 6)
LEAST_REFUSED = 0.97
DECIDED = 12  # capsules, about a hundredth


# ---- Pictures ---------------------------------------------------------------------

def moved(picture, inverse):
    """The picture under an affine map about its middle; inverse is [a, b, c, d, e, f]
    with which x, y of the result come from a x + b y + c, d x + e y + f."""
    a, b, c, d, e, f = inverse
    m = (SIDE - 1) / 2
    return picture.transform((SIDE, SIDE), Image.Transform.AFFINE,
                             (a, b, c + m - a * m - b * m, d, e, f + m - d * m - e * m),
                             Image.Resampling.BICUBIC)


def right(v):
    return [1, 0, -v, 0, 1, 0]


def down(v):
    return [1, 0, 0, 0, 1, -v]


def rotated(v):
    s, c = math.sin(math.radians(v)), math.cos(math.radians(v))
    return [c, s, 0, -s, c, 0]


def scaled(v):
    return [1 / v, 0, 0, 0, 1 / v, 0]


MOVEMENTS = [
    ("moved right by -4 to 4 pixels", right, [-4, -2, 0, 2, 4]),
    ("moved down by -4 to 4 pixels", down, [-4, -2, 0, 2, 4]),
    ("turned by -30 to 30 degrees", rotated, [-30, -20, -10, 0, 10, 20, 30]),
    ("scaled by 0.8 to 1.2", scaled, [0.8, 0.9, 1, 1.1, 1.2]),
]


def exchanged(picture, columns, rows):
    """Every piece of columns x rows in the place of the one across."""
    w, h = SIDE // columns, SIDE // rows
    out = Image.new("L", (SIDE, SIDE))
    for x in range(0, SIDE, w):
        for y in range(0, SIDE, h):
            out.paste(picture.crop((x, y, x + w, y + h)), (SIDE - w - x, SIDE - h - y))
    return out


def shifted_half(picture, by):
    """The lower half moved to the right."""
    half = SIDE // 2
    lower = Image.new("L", (SIDE, SIDE))
    lower.paste(picture.crop((0, half, SIDE, SIDE)), (by, half))
    upper = Image.new("L", (SIDE, SIDE))
    upper.paste(picture.crop((0, 0, SIDE, half)), (0, 0))
    return ImageChops.lighter(upper, lower)


PARTS = [
    ("whole", lambda p: p),
    ("quarters exchanged", lambda p: exchanged(p, 2, 2)),
    ("left and right halves exchanged", lambda p: exchanged(p, 2, 1)),
    ("upper and lower halves exchanged", lambda p: exchanged(p, 1, 2)),
    ("lower half shifted by 6 pixels", lambda p: shifted_half(p, 6)),
]


def noise(count):
    rng = random.Random(SEED)
    return [Image.frombytes("L", (SIDE, SIDE), rng.randbytes(SIDE * SIDE)) for _ in range(count)]


# ---- Numbers ------------------------------------------------------------------------

def percent(part, of):
    return f"{100 * part / of:.1f} %"


def argmax(values):
    return max(range(len(values)), key=values.__getitem__)


def correlation(xs, ys):
    """Pearson's; 0 where nothing moves."""
    mx, my = statistics.fmean(xs), statistics.fmean(ys)
    dx, dy = [x - mx for x in xs], [y - my for y in ys]
    spread = math.sqrt(sum(map(operator.mul, dx, dx)) * sum(map(operator.mul, dy, dy)))
    return sum(map(operator.mul, dx, dy)) / spread if spread else 0.0


def entropies(coupling):
    """Of each capsule's c_i, in parts of log 10: 1 where it sends every class the same, 0
    where it sends all to one."""
    terms = list(map(operator.mul, coupling, map(math.log, [max(c, 1e-30) for c in coupling])))
    return [-sum(terms[i:i + CLASSES]) / math.log(CLASSES) for i in range(0, len(terms), CLASSES)]


def table(*rows):
    for i, row in enumerate(rows):
        print(f"| {' | '.join(map(str, row))} |")
        if i == 0:
            print(f"|---|{'--:|' * (len(row) - 1)}")
    print(flush=True)


# ---- Claims ---------------------------------------------------------------------------

def equivariance(server, model, digits, labels):
    """A movement shows in the pose and not in the length."""
    print("### The pose follows, the length stays\n")
    rows = [("", "right at both ends", "length at rest", "length changes by", "pose moves by",
             "its correlation with the movement")]
    for name, move, steps in MOVEMENTS:
        pictures = [moved(d, move(v)) for d in digits for v in steps]
        answers = server.infer(model, pictures, ["probabilities", "poses"])
        ends, rest, changes, moves, follows = 0, [], [], [], []
        for i, label in enumerate(labels):
            along = answers[i * len(steps):(i + 1) * len(steps)]
            middle = along[len(steps) // 2]["probabilities"]
            j = argmax(middle)
            lengths = [a["probabilities"][j] for a in along]
            poses = [a["poses"][j * POSE:(j + 1) * POSE] for a in along]
            ends += all(argmax(along[k]["probabilities"]) == label for k in (0, -1))
            rest.append(middle[j])
            changes.append(statistics.fmean(abs(lengths[k] - middle[j]) for k in (0, -1)))
            moves.append(math.dist(poses[0], poses[-1]))
            series = list(zip(*poses))
            follows.append(abs(correlation(steps, max(series, key=lambda s: max(s) - min(s)))))
        rows.append((name, percent(ends, len(digits)), f"{statistics.fmean(rest):.3f}",
                     f"{statistics.fmean(changes):.3f}", f"{statistics.fmean(moves):.3f}",
                     f"{statistics.median(follows):.3f}"))
    table(*rows)


def parts(server, digits):
    """Parts in the wrong places are no digit."""
    print("### Parts in the wrong places\n")
    rows = [("", "length of the digit's capsule", "longest capsule", "not in distribution",
             "by the reconstruction error alone")]
    limit, classes = None, None
    for name, take_apart in PARTS:
        predictions = server.classify([take_apart(d) for d in digits], "normalize=none")
        refused = sum(not p["in_distribution"] for p in predictions)
        errors = sorted(p["reconstruction_error"] for p in predictions)
        if limit is None: # as many of the whole digits as the rule refuses
            limit = errors[len(errors) - 1 - refused]
            classes = [p["class"] for p in predictions]
        rows.append((name, f"{statistics.fmean(p['probabilities'][j] for p, j in zip(predictions, classes)):.3f}",
                     f"{statistics.fmean(p['probability'] for p in predictions):.3f}",
                     percent(refused, len(digits)),
                     percent(sum(e > limit for e in errors), len(digits))))
        if name == "quarters exchanged" and refused < LEAST_REFUSED * len(digits):
            raise Trouble(f"Of {len(digits)} digits with their quarters exchanged {refused} are "
                          f"not in distribution; {LEAST_REFUSED:.0%} must be.")
    table(*rows)


def rounds(program, weights, model, digits, labels):
    """Routing brings the votes together."""
    print("### Rounds of routing\n")
    rows = [("rounds", "right", *COUPLINGS)]
    with tempfile.TemporaryDirectory() as folder:
        for n in ROUNDS:
            with Server(program, with_rounds(weights, n, f"{folder}/{n}.safetensors")) as server:
                answers = server.infer(model, digits, ["probabilities", "coupling"])
            rows.append((n, percent(sum(argmax(a["probabilities"]) == label
                                        for a, label in zip(answers, labels)), len(digits)),
                         *lengths_and_couplings(answers)))
    table(*rows)


COUPLINGS = ("longest capsule", "second", "entropy of c", f"of the {DECIDED} most decided",
             "their c to the winner")


def lengths_and_couplings(answers):
    """The columns of COUPLINGS, means over the answers.  Most of the 1,152 capsules see no
    ink and stay undecided, so the few that are most decided are told apart."""
    columns = []
    for answer in answers:
        longest, second = sorted(answer["probabilities"], reverse=True)[:2]
        winner = argmax(answer["probabilities"])
        each = entropies(answer["coupling"])
        decided = heapq.nsmallest(DECIDED, range(len(each)), key=each.__getitem__)
        columns.append((longest, second, statistics.fmean(each),
                        statistics.fmean(each[i] for i in decided),
                        statistics.fmean(answer["coupling"][i * CLASSES + winner] for i in decided)))
    return [f"{statistics.fmean(column):.3f}" for column in zip(*columns)]


def known_and_unknown(server, model, digits):
    """Votes that disagree stay spread over the classes."""
    print("### Couplings of known and unknown pictures\n")
    rows = [("", *COUPLINGS)]
    kinds = [(name, [take_apart(d) for d in digits]) for name, take_apart in PARTS[:3]]
    for name, pictures in kinds + [("noise", noise(len(digits)))]:
        rows.append((name, *lengths_and_couplings(
            server.infer(model, pictures, ["probabilities", "coupling"]))))
    table(*rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="build/capsnetd")
    parser.add_argument("--weights", default="weights/capsnet-mnist.safetensors")
    parser.add_argument("--data", default="data")
    parser.add_argument("--images", type=int, default=1000)
    options = parser.parse_args()
    pixels, labels = test_images(options.data, options.images)
    digits = [Image.frombytes("L", (SIDE, SIDE), p) for p in pixels]
    with Server(options.program, options.weights) as server:
        model = server.json("/model")["name"]
        equivariance(server, model, digits, labels)
        parts(server, digits)
        known_and_unknown(server, model, digits)
    rounds(options.program, options.weights, model, digits, labels)


run(main)
