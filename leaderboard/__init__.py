"""The Streamlit leaderboard."""

if __name__ == "leaderboard":
    raise ImportError("import arithloc.leaderboard, not leaderboard: install the project with 'make setup' first")
