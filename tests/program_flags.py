"""Flags of the programs that are run with -m, without a process for each."""
from absl import flags


def options(program, *arguments):
    """The program's flags as these arguments leave them."""
    values = flags.FlagValues()
    program.define_flags(values)
    values(['program', *arguments])
    return values
