"""Where content is kept, and how what nobody refers to is removed."""
