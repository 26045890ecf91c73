"""Operations on arrays that the rest is made of: scores, products, random arrays."""
