/*
 * machine.c - what this machine is and what one of its cores can do at most, in
 * a line for each, for the comparisons that are scripts.
 */
#include "tests/bench/peaks.h"

int main(void)
{
    const struct peaks peaks = peaks_measure();
    peaks_print(&peaks);
    return 0;
}
