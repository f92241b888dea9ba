"""What each process would make anew: numba's compiler, which a first call sets up. Imported before forks."""

from numba import njit


@njit
def one_more(x):
    return x + 1


one_more(1)
