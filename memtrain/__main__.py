"""The command ``memtrain``, also ``python -m memtrain``."""

import sys


def main() -> None:
    """Load and run the command line; an interrupt while it loads is no error either."""
    try:
        from memtrain.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
