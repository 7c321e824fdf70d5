"""All benchmarks, one after the other: ``python -m benchmarks``. Each stands alone too."""

from benchmarks import arrival, growth, local, status


def main() -> None:
    """Measure, and print; nothing is asserted."""
    for benchmark in (arrival, local, growth, status):
        benchmark.main()


if __name__ == "__main__":
    main()
