"""What aerial scenes are made of: domains, people, things, ground, light and camera. Nothing here makes a whole scene.

``realfake.generators.procedural.render`` does; ``sheet.contact_sheet`` draws some to look at. numpy and Pillow only.
"""
