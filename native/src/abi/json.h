// Just enough JSON to describe contexts and programs.
#pragma once
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace cf::abi {

inline std::string quoted(const std::string& s) {
  std::string out = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char buffer[8];
      std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += buffer;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

inline std::string number(double v) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.17g", std::isfinite(v) ? v : 0.0);
  // A host may have set a locale whose decimal point is a comma.
  for (char& c : buffer)
    if (c == ',') c = '.';
  return buffer;
}

/// {"key":value,…}, values already JSON.
class JsonObject {
 public:
  JsonObject& raw(const char* key, const std::string& json) {
    text_ += (text_.empty() ? "" : ",") + quoted(key) + ":" + json;
    return *this;
  }
  JsonObject& add(const char* key, const std::string& value) { return raw(key, quoted(value)); }
  JsonObject& add(const char* key, const char* value) { return raw(key, quoted(value)); }
  JsonObject& add(const char* key, uint64_t value) { return raw(key, std::to_string(value)); }
  JsonObject& add(const char* key, bool value) { return raw(key, value ? "true" : "false"); }
  JsonObject& add(const char* key, double value) { return raw(key, number(value)); }
  std::string text() const { return "{" + text_ + "}"; }

 private:
  std::string text_;
};

inline std::string json_array(const std::vector<std::string>& items) {
  std::string out = "[";
  for (size_t i = 0; i < items.size(); ++i) out += (i ? "," : "") + items[i];
  return out + "]";
}

inline std::string json_array(const std::vector<uint32_t>& items) {
  std::vector<std::string> text;
  for (uint32_t v : items) text.push_back(std::to_string(v));
  return json_array(text);
}

}  // namespace cf::abi
