"""The whole house through its front door: real processes, real HTTP, a real S3, and the plug pulled."""
