"""The version of the distribution, apart from the package so that every layer can import it."""

VERSION = "0.1.0"
