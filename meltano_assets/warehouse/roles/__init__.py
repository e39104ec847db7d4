"""Roles and who may read what: the wanted state, the present one, the statements between them."""
