#include "base/flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace octet {
namespace {

constexpr size_t kHelpColumns = 100;

// How a flag's text becomes its value; the status says what is wrong with the text, without the flag's name.
using Assign = std::function<absl::Status(const std::string& text)>;

template <typename Number>
absl::StatusOr<Number> parse_number(const std::string& text, Number min, Number max) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range || (error == std::errc() && !(value >= min && value <= max))) {
    return absl::InvalidArgumentError(absl::StrCat(text, " is not in the range ", min, " to ", max));
  }
  if (error != std::errc() || end != text.data() + text.size()) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not a number"));
  }
  return value;
}

template <typename Number>
Assign assign_number(Number* value, Number min, Number max) {
  return [=](const std::string& text) {
    const absl::StatusOr<Number> number = parse_number(text, min, max);
    if (number.ok()) *value = *number;
    return number.status();
  };
}

std::string environment_name(const std::string& flag) {
  return "OCTET_" + absl::AsciiStrToUpper(absl::StrReplaceAll(flag, {{"-", "_"}}));
}

// Words of the text in lines of at most `columns` characters, each after the indent.
std::string wrap(const std::string& text, size_t indent, size_t columns) {
  std::string out;
  size_t column = columns;  // the first word opens a line
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(text, ' ', absl::SkipEmpty()))) {
    if (column + 1 + word.size() > columns) {
      if (!out.empty()) out += '\n';
      out.append(indent, ' ');
      column = indent;
    } else {
      out += ' ';
      ++column;
    }
    absl::StrAppend(&out, word);
    column += word.size();
  }
  out += '\n';
  return out;
}

// The flag among the arguments that no flag took, or the first of them.
std::string first_unknown(const std::vector<std::string>& arguments) {
  const auto flag = std::find_if(arguments.begin(), arguments.end(),
                                 [](const std::string& argument) { return argument.starts_with("-"); });
  return flag != arguments.end() ? *flag : arguments.front();
}

struct Unit {
  std::string_view suffix;
  Duration length;
};
// "ms" before "s".
constexpr Unit kUnits[] = {{"h", std::chrono::hours(1)},
                           {"ms", std::chrono::milliseconds(1)},
                           {"m", std::chrono::minutes(1)},
                           {"s", std::chrono::seconds(1)}};

}  // namespace

struct Flags::Impl {
  struct Flag {
    std::string name;
    std::string value_name;  // "N" in "--port N"; empty for a switch
    std::string help;
    CLI::Option* option = nullptr;
  };

  CLI::App app;
  std::string program;
  std::string description;
  std::vector<Flag> flags;

  void add(const std::string& name, const std::string& value_name, std::string help, Assign assign) {
    const auto take = [name, assign](const CLI::results_t& texts) {
      // A file may say "name = []".
      const absl::Status status =
          texts.empty() ? absl::InvalidArgumentError("has no value") : assign(texts.back());
      if (!status.ok()) throw CLI::ValidationError("--" + name, std::string(status.message()));
      return true;
    };
    CLI::Option* option = app.add_option("--" + name, CLI::callback_t(take));
    option->envname(environment_name(name));
    option->type_name(value_name);
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    flags.push_back({name, value_name, std::move(help), option});
  }
};

Flags::Flags(std::string program, std::string description) : impl_(std::make_unique<Impl>()) {
  impl_->program = std::move(program);
  impl_->description = std::move(description);
  impl_->app.set_help_flag("-h,--help");
  impl_->app.set_config("--config");
  impl_->app.allow_config_extras(CLI::config_extras_mode::error);
}

Flags::~Flags() = default;

void Flags::add_text(const std::string& name, std::string* value, const std::string& help) {
  const std::string fallback = value->empty() ? "" : absl::StrCat(" Default: ", *value, ".");
  impl_->add(name, "TEXT", help + fallback, [value](const std::string& text) {
    *value = text;
    return absl::OkStatus();
  });
}

void Flags::add_choice(const std::string& name, std::string* value, const std::vector<std::string>& choices,
                       const std::string& help) {
  impl_->add(name, absl::StrJoin(choices, "|"), absl::StrCat(help, " Default: ", *value, "."),
             [value, choices](const std::string& text) {
               if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
                 return absl::InvalidArgumentError(
                     absl::StrCat("'", text, "' is not one of ", absl::StrJoin(choices, ", ")));
               }
               *value = text;
               return absl::OkStatus();
             });
}

void Flags::add_number(const std::string& name, int* value, int min, int max, const std::string& help) {
  impl_->add(name, "N", absl::StrCat(help, " Range ", min, " to ", max, ". Default: ", *value, "."),
             assign_number(value, min, max));
}

void Flags::add_number(const std::string& name, uint32_t* value, uint32_t min, uint32_t max,
                       const std::string& help) {
  impl_->add(name, "N", absl::StrCat(help, " Range ", min, " to ", max, ". Default: ", *value, "."),
             assign_number(value, min, max));
}

void Flags::add_number(const std::string& name, int64_t* value, int64_t min, int64_t max,
                       const std::string& help) {
  impl_->add(name, "N", absl::StrCat(help, " Range ", min, " to ", max, ". Default: ", *value, "."),
             assign_number(value, min, max));
}

void Flags::add_number(const std::string& name, double* value, double min, double max,
                       const std::string& help) {
  impl_->add(name, "X", absl::StrCat(help, " Range ", min, " to ", max, ". Default: ", *value, "."),
             assign_number(value, min, max));
}

void Flags::add_duration(const std::string& name, Duration* value, Duration min, Duration max,
                         const std::string& help) {
  impl_->add(name, "TIME",
             absl::StrCat(help, " Range ", duration_text(min), " to ", duration_text(max),
                          ". Default: ", duration_text(*value), "."),
             [=](const std::string& text) {
               const absl::StatusOr<Duration> duration = parse_duration(text);
               if (!duration.ok()) return duration.status();
               if (*duration < min || *duration > max) {
                 return absl::InvalidArgumentError(absl::StrCat(
                     text, " is not in the range ", duration_text(min), " to ", duration_text(max)));
               }
               *value = *duration;
               return absl::OkStatus();
             });
}

void Flags::add_switch(const std::string& name, bool* value, const std::string& help) {
  CLI::Option* option =
      impl_->app.add_flag_function("--" + name, [value](int64_t count) { *value = count > 0; });
  option->envname(environment_name(name));
  impl_->flags.push_back({name, "", help, option});
}

void Flags::add_list(const std::string& name, std::vector<std::string>* value, const std::string& help) {
  impl_->add(name, "A,B,..", help, [value](const std::string& text) {
    std::vector<std::string> parts = absl::StrSplit(text, ',');
    for (std::string& part : parts) {
      absl::StripAsciiWhitespace(&part);
      if (part.empty()) return absl::InvalidArgumentError(absl::StrCat("'", text, "' has an empty entry"));
    }
    *value = std::move(parts);
    return absl::OkStatus();
  });
}

void Flags::add_list(const std::string& name, std::vector<int>* value, int min, int max,
                     const std::string& help) {
  impl_->add(name, "N,N,..", absl::StrCat(help, " Each in the range ", min, " to ", max, "."),
             [=](const std::string& text) {
               std::vector<int> numbers;
               for (const absl::string_view part : absl::StrSplit(text, ',')) {
                 const absl::StatusOr<int> number =
                     parse_number(std::string(absl::StripAsciiWhitespace(part)), min, max);
                 if (!number.ok()) return number.status();
                 numbers.push_back(*number);
               }
               *value = std::move(numbers);
               return absl::OkStatus();
             });
}

absl::StatusOr<Flags::Outcome> Flags::parse(int argc, const char* const* argv) {
  try {
    impl_->app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(help().c_str(), stdout);
    return Outcome::kHelpPrinted;
  } catch (const CLI::FileError& error) {
    return absl::InvalidArgumentError(absl::StrCat("--config: ", error.what()));
  } catch (const CLI::ConfigError& error) {
    return absl::InvalidArgumentError(absl::StrCat("--config: ", error.what()));
  } catch (const CLI::ExtrasError&) {
    return absl::InvalidArgumentError(absl::StrCat(first_unknown(impl_->app.remaining()), ": unknown flag"));
  } catch (const std::exception& error) {  // CLI11 throws; nothing of it leaves this function
    return absl::InvalidArgumentError(error.what());
  }
  return Outcome::kRun;
}

bool Flags::given(const std::string& name) const {
  for (const Impl::Flag& flag : impl_->flags) {
    if (flag.name == name) return flag.option->count() > 0;
  }
  return false;
}

std::string Flags::help() const {
  std::string out =
      absl::StrCat(impl_->program, " [--flag value]...\n\n", wrap(impl_->description, 0, kHelpColumns),
                   "\nEvery flag can also stand in a file of \"name = value\" lines given by --config FILE, "
                   "or in the\nenvironment as OCTET_NAME; the command line wins over the file, and the "
                   "file over the environment.\n");
  for (const Impl::Flag& flag : impl_->flags) {
    absl::StrAppend(
        &out, "\n  --", flag.name, flag.value_name.empty() ? "" : " ", flag.value_name, "\n",
        wrap(absl::StrCat(flag.help, " Environment: ", environment_name(flag.name), "."), 6, kHelpColumns));
  }
  absl::StrAppend(&out,
                  "\n  --config FILE\n      Reads flags from this file.\n\n  --help\n      Prints this.\n");
  return out;
}

std::string duration_text(Duration duration) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  if (ms % 3'600'000 == 0 && ms != 0) return absl::StrCat(ms / 3'600'000, "h");
  if (ms % 60'000 == 0 && ms != 0) return absl::StrCat(ms / 60'000, "m");
  if (ms % 1'000 == 0) return absl::StrCat(ms / 1'000, "s");
  return absl::StrCat(ms, "ms");
}

absl::StatusOr<Duration> parse_duration(std::string_view text) {
  std::string_view number = text;
  Duration unit = std::chrono::seconds(1);
  for (const Unit& candidate : kUnits) {
    if (number.ends_with(candidate.suffix)) {
      number.remove_suffix(candidate.suffix.size());
      unit = candidate.length;
      break;
    }
  }
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  const double ticks = value * static_cast<double>(unit.count());
  if (error != std::errc() || end != number.data() + number.size() || !(value >= 0) ||
      ticks > static_cast<double>(std::numeric_limits<Duration::rep>::max() / 2)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", absl_view(text), "' is not a time such as 10s, 250ms, 2m or 1h"));
  }
  return Duration(static_cast<Duration::rep>(ticks));
}

}  // namespace octet
