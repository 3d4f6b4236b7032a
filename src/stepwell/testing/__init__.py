"""What ships for tests: of programs that use Stepwell, and of backends."""
