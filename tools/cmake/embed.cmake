# cmake -DINPUT=page.html -DOUTPUT=page.cc -DFUNCTION=page_html -P embed.cmake: a C++ source that defines
# std::string_view octet::router::FUNCTION(), which returns the file's bytes.
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUTPUT}
  "#include <string_view>\n"
  "namespace octet::router {\n"
  "namespace {\n"
  "constexpr unsigned char kBytes[] = {\n${bytes}};\n"
  "}  // namespace\n"
  "std::string_view ${FUNCTION}() {\n"
  "  return {reinterpret_cast<const char*>(kBytes), sizeof(kBytes)};\n"
  "}\n"
  "}  // namespace octet::router\n")
