"""HTTP: the application, its routes, who may call it, and the bodies it returns."""
