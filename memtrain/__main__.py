"""``python -m memtrain``."""

from memtrain.cli.app import main

if __name__ == "__main__":
    main()
