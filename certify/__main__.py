"""`python -m certify` is the command `certify`."""

from certify.cli.main import run

if __name__ == "__main__":
    run()
