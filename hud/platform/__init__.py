"""The driving side of a platform: its API, its build logs, and the link between a folder and what it deployed.

Source: platform API specification. Extensions of this project's own platform are used where `Platform.extensions`
names them, and the public routes everywhere else.
"""
