# Writes OUTPUT, a C++ file that holds the headers which kernels' texts may include.
#
#   cmake -DROOT=native/src -DHEADERS=a.h|b.h -DOUTPUT=FILE -P embed.cmake

string(REPLACE "|" ";" HEADERS "${HEADERS}")
set(text "#include \"cuda/gpu/compiler.h\"\n\nnamespace cf::cuda::gpu {\n\n")
string(APPEND text "const std::vector<std::pair<std::string, std::string>>& embedded_headers() {\n  static const std::vector<std::pair<std::string, std::string>> headers{\n")
foreach(header IN LISTS HEADERS)
  file(READ "${ROOT}/${header}" content)
  string(APPEND text "    {\"${header}\", R\"cf_header(${content})cf_header\"},\n")
endforeach()
string(APPEND text "  };\n  return headers;\n}\n\n}  // namespace cf::cuda::gpu\n")
file(WRITE "${OUTPUT}" "${text}")
