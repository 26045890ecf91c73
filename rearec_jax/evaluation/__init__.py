"""The rank of every target among all items, and what ranks are worth."""
