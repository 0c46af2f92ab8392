"""The Tenant: a company's namespace with app, database, secrets and policies, and its share of each region's edge."""
