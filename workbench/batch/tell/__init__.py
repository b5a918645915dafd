"""What a sweep found, told: findings, pictures, the page."""
