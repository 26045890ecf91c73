"""Serves models over HTTP (--mode=serve); only this room imports the extra `serve`."""
