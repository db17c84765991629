"""About: what each score means."""

import streamlit as st

st.title("About")
