"""CPU time of `import noria` over a bare interpreter; budget: under 150 ms."""

import resource
import statistics
import subprocess
import sys

RUNS = 15


def cpu_seconds(statement):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    bare, ours = [], []
    for _ in range(RUNS):
        bare.append(cpu_seconds("pass"))
        ours.append(cpu_seconds("import noria"))
    over = statistics.median(ours) - statistics.median(bare)
    print(f"import noria: {over * 1000:.1f} ms of CPU over a bare interpreter (median of {RUNS}; budget 150 ms)")


if __name__ == "__main__":
    main()
