"""Router of the leaderboard: the list of pages and the frame around them. Run by `bench leaderboard`."""

import streamlit as st

from arithloc.leaderboard import frame

st.set_page_config(page_title="arithloc leaderboard", page_icon=frame.icon(), layout="wide")

page = st.navigation(
    [
        st.Page("app_pages/ranking.py", title="Ranking", icon=":material/leaderboard:", default=True),
        st.Page("app_pages/task.py", title="Task", icon=":material/show_chart:", url_path="task"),
        st.Page("app_pages/circuits.py", title="Known circuits", icon=":material/account_tree:", url_path="circuits"),
        st.Page("app_pages/raw.py", title="Raw results", icon=":material/table_rows:", url_path="raw"),
        st.Page("app_pages/about.py", title="About", icon=":material/info:", url_path="about"),
        st.Page("app_pages/entry.py", title="Entry", url_path="entry", visibility="hidden"),
    ],
    position="top",
)
body = st.container()
frame.footer(frame.state())  # first, so that a page may stop early
with body:
    page.run()
