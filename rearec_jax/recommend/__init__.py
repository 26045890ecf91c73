"""Recommends items to users: from a trained run or its export, histories to ranked lists."""
