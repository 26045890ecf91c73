"""--mode=serve: models behind HTTP. Only here are FastAPI and uvicorn imported (extra `serve`)."""
