#!/usr/bin/env python3
"""Draws the digits of this folder: our own handwriting, as strokes, so that the
tests need no data set.  Python's standard library only.

    tests/digits/draw.py [FOLDER]

digit-N.png        28 x 28, light on dark, as MNIST has them
paper-N.png        200 x 200, dark on white, off the middle: as people send them
transparent-3.png  dark ink on nothing (RGBA)
chalk-8.png        light ink on nothing (gray and alpha)
palette-5.png      16 colours
colour-7.png       blue ink on yellow paper, wide
bilevel-2.png      1 bit, no soft edges
large-4.png        a thick pen, 700 x 900, filling the sheet
number-407.png     three digits side by side
lines-25-1638.png  two lines, slanting upwards; the 6 and the 3 touch
"""
import math
import os
import struct
import sys
import zlib

# Strokes through points, smooth between them; x to the right, y downwards.
STROKES = {
    0: [[(.52, .02), (.28, .10), (.13, .38), (.14, .70), (.32, .95), (.57, .94), (.80, .72),
         (.85, .40), (.73, .11), (.50, .02), (.44, .04)]],
    1: [[(.62, .02), (.56, .30), (.48, .65), (.40, .98)]],
    2: [[(.16, .24), (.28, .07), (.52, .02), (.74, .14), (.74, .36), (.54, .62), (.30, .84),
         (.14, .95)],
        [(.14, .95), (.30, .88), (.52, .93), (.70, .97), (.90, .90)]],
    3: [[(.20, .12), (.42, .02), (.68, .09), (.72, .27), (.56, .42), (.40, .47)],
        [(.40, .47), (.64, .49), (.80, .64), (.74, .86), (.50, .98), (.26, .94), (.14, .84)]],
    4: [[(.26, .05), (.20, .28), (.17, .50)], [(.17, .50), (.40, .53), (.84, .48)],
        [(.74, .06), (.69, .40), (.63, .70), (.60, .98)]],
    5: [[(.82, .04), (.56, .05), (.32, .06)], [(.32, .06), (.28, .24), (.24, .42)],
        [(.24, .42), (.46, .37), (.70, .46), (.78, .68), (.64, .89), (.40, .97), (.18, .90)]],
    6: [[(.68, .03), (.42, .20), (.24, .48), (.20, .76), (.36, .96), (.60, .94), (.75, .76),
         (.68, .57), (.48, .53), (.30, .66), (.24, .78)]],
    7: [[(.12, .10), (.34, .09), (.60, .08), (.85, .06)],
        [(.85, .06), (.70, .34), (.56, .64), (.46, .98)]],
    8: [[(.72, .14), (.50, .02), (.28, .12), (.30, .30), (.52, .47), (.72, .66), (.68, .89),
         (.46, .98), (.25, .88), (.26, .67), (.46, .49), (.68, .32), (.74, .17), (.70, .12)]],
    9: [[(.74, .20), (.56, .04), (.32, .10), (.20, .30), (.32, .47), (.54, .44), (.72, .26),
         (.75, .19)],
        [(.75, .19), (.72, .48), (.66, .74), (.58, .98)]],
}


def smooth(points, steps=8):
    """A Catmull-Rom spline through the points, as a list of points."""
    ends = [points[0]] + points + [points[-1]]
    path = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:]):
        for i in range(steps):
            t = i / steps
            path.append(tuple(
                .5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t * t
                      + (3 * q - p - 3 * r + s) * t ** 3) for p, q, r, s in zip(a, b, c, d)))
    return path + [points[-1]]


def coverage(digit, width, height, left, top, size, pen, slant):
    """How much of each pixel is ink, 0 to 1, in rows.  size: the digit's
    height; pen: the stroke's width; both in pixels."""
    rows = [[0.0] * width for _ in range(height)]
    for stroke in STROKES[digit]:
        path = [(left + size * (x + slant * (.5 - y)), top + size * y) for x, y in smooth(stroke)]
        for (ax, ay), (bx, by) in zip(path, path[1:]):
            dx, dy = bx - ax, by - ay
            length = dx * dx + dy * dy or 1e-12
            reach = pen / 2 + 1
            for y in range(max(0, int(min(ay, by) - reach)), min(height, int(max(ay, by) + reach) + 1)):
                for x in range(max(0, int(min(ax, bx) - reach)),
                               min(width, int(max(ax, bx) + reach) + 1)):
                    px, py = x + .5 - ax, y + .5 - ay
                    t = min(1, max(0, (px * dx + py * dy) / length))
                    far = math.hypot(px - t * dx, py - t * dy)
                    rows[y][x] = max(rows[y][x], min(1, max(0, pen / 2 - far + .5)))
    return rows


def mnist_style(digit):
    """At most 20 pixels high with the pen's soft rim, centre of mass at 14."""
    size, pen = 17, 2.4
    left = top = 5.0
    for _ in range(4):  # place, look, move
        rows = coverage(digit, 28, 28, left, top, size, pen, .1)
        mass = sum(map(sum, rows))
        left += 14.5 - sum((x + .5) * v for row in rows for x, v in enumerate(row)) / mass
        top += 14.5 - sum((y + .5) * v for y, row in enumerate(rows) for v in row) / mass
    return coverage(digit, 28, 28, left, top, size, pen, .1)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def save(path, width, height, depth, colour, rows, palette=b""):
    """rows: the bytes of each row, packed as the format wants them."""
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n"
                   + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
                   + (chunk(b"PLTE", palette) if palette else b"")
                   + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows), 9))
                   + chunk(b"IEND", b""))


def mix(paper, ink, cover):
    return bytes(round(p + (i - p) * cover) for p, i in zip(paper, ink))


def number(path, width, height, grain, places):
    """Digits (digit, left, top, size) on one sheet."""
    rows = [[0.0] * width for _ in range(height)]
    for digit, left, top, size in places:
        own = coverage(digit, width, height, left, top, size, size / 10, .1)
        rows = [[max(a, b) for a, b in zip(*pair)] for pair in zip(rows, own)]
    save(path, width, height, 8, 0,
         [bytes(round(250 - (250 - grain) * v) for v in row) for row in rows])


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))

    def out(name):
        return os.path.join(folder, name)

    for n in range(10):
        save(out(f"digit-{n}.png"), 28, 28, 8, 0,
             [bytes(round(255 * v) for v in row) for row in mnist_style(n)])
        rows = coverage(n, 200, 200, 25 + 7 * n % 50, 20 + 11 * n % 45, 110, 12, .04 * (n % 4))
        save(out(f"paper-{n}.png"), 200, 200, 8, 0,
             [bytes(round(255 - 235 * v) for v in row) for row in rows])

    rows = coverage(3, 160, 160, 30, 20, 110, 11, .1)
    save(out("transparent-3.png"), 160, 160, 8, 6,
         [b"".join(bytes((20, 20, 60, round(255 * v))) for v in row) for row in rows])

    rows = coverage(8, 160, 160, 20, 25, 110, 13, .1)
    save(out("chalk-8.png"), 160, 160, 8, 4,
         [b"".join(bytes((240, round(255 * v))) for v in row) for row in rows])

    rows = coverage(5, 120, 140, 10, 25, 90, 9, .15)
    palette = b"".join(mix((255, 255, 255), (120, 0, 80), i / 15) for i in range(16))
    indices = [[round(15 * v) for v in row] for row in rows]
    save(out("palette-5.png"), 120, 140, 4, 3,
         [bytes(a << 4 | b for a, b in zip(row[::2], row[1::2])) for row in indices], palette)

    rows = coverage(7, 300, 120, 170, 15, 85, 9, .1)
    save(out("colour-7.png"), 300, 120, 8, 2,
         [b"".join(mix((250, 240, 170), (20, 40, 160), v) for v in row) for row in rows])

    rows = coverage(2, 128, 128, 30, 20, 90, 8, 0)
    save(out("bilevel-2.png"), 128, 128, 1, 0,
         [bytes(sum((row[x + i] < .5) << (7 - i) for i in range(8)) for x in range(0, 128, 8))
          for row in rows])

    rows = coverage(4, 700, 900, -60, 45, 800, 75, .05)
    save(out("large-4.png"), 700, 900, 8, 0,
         [bytes(round(255 - 255 * v) for v in row) for row in rows])

    number(out("number-407.png"), 340, 160, 20, [(4, 20, 28, 100), (0, 120, 34, 96), (7, 215, 24, 102)])
    number(out("lines-25-1638.png"), 420, 300, 10,
           [(2, 35, 50, 80), (5, 125, 40, 80), (1, 20, 180, 80), (6, 100, 168, 84),
            (3, 159, 160, 84), (8, 260, 140, 80)])


if __name__ == "__main__":
    main()
