"""`python -m experiments COMMAND ...`: see `experiments.cli`."""

import sys

from experiments.environment import divide_the_host, seek_no_accelerator

if __name__ == "__main__":
    seek_no_accelerator()
    divide_the_host()
    from experiments.cli import main
    from experiments.hosts import end

    end(main(sys.argv[1:]))
