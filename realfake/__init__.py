"""realfake"""
