def render_markdown(report): return ""
def render_html(report): return ""
def headline_rows(report): return []
