"""Stage `report`: a study's pages, tables and figures."""
