"""What the control API says and hears: frozen shapes at the HTTP border, a file for each group of routes."""
