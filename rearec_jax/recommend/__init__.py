"""A trained run or an export answers: histories in, lists out."""
