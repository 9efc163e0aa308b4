int main() { return 0; }  // Placeholder while this part is being written.
