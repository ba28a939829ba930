"""turns.py - a contender's half of the protocol of compare.py, and its arguments.

A contender is started as COMMAND WEIGHTS IMAGES ANSWERS THREADS; IMAGES holds
28x28 images, or of whatever size the weights are for, as raw floats.  It prints
"ready NAME", or "skipped WHY", and then answers lines on its input:

  time N           seconds on the wall and of all its threads, of one pass over N
                   images, forward and decoder: the mean of at least 30 ms of passes,
                   each with the next N of all images, after one that does not count
                   when N < 16;
  answers COUNT N  "done" once ANSWERS holds the first COUNT images' lengths, poses
                   and pictures, computed in batches of N.
"""
import sys
import time

import numpy as np

LEAST_SECONDS = 0.03


def _turn(run, images, n):
    passes, batches = 0, len(images) // n
    if n < 16:
        run(images[:n])
    wall, cpu = time.perf_counter(), time.process_time()
    while True:
        first = passes % batches * n
        run(images[first:first + n])
        passes += 1
        spent = time.perf_counter() - wall
        if spent >= LEAST_SECONDS:
            return spent / passes, (time.process_time() - cpu) / passes


def take_turns(name, run, images, answers_path):
    """run(images [n,h,w,c]) -> lengths, poses, pictures of those n, as arrays."""
    print(f"ready {name}", flush=True)
    for line in sys.stdin:
        word, *numbers = line.split()
        if word == "time":
            wall, cpu = _turn(run, images, int(numbers[0]))
            print(f"{wall:.9f} {cpu:.9f}", flush=True)
            continue
        count, batch = map(int, numbers)
        parts = [[np.array(output) for output in run(images[i:min(i + batch, count)])]
                 for i in range(0, count, batch)]
        with open(answers_path, "wb") as file:
            for output in zip(*parts):
                file.write(np.concatenate(output).astype("<f4").tobytes())
        print("done", flush=True)


def arguments():
    """-> (the contender's own words, weights, images path, answers path, threads)."""
    *own, weights, images, answers, threads = sys.argv[1:]
    return own, weights, images, answers, int(threads)
