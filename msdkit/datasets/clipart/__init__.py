"""The data set of tagged clip art, built from public packages."""
