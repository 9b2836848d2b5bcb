#ifndef varfield_tests_messages_h
#define varfield_tests_messages_h

#include <string>
#include <varfield/exceptions.h>

namespace varfield::testing
{
  /// The message of the exception that `action` throws; a text that no test expects if it throws none.
  template <typename Exception = UserError, typename Action>
  std::string message_of(const Action &action)
  {
    try
    {
      action();
    }
    catch (const Exception &error)
    {
      return error.what();
    }
    return "(no exception)";
  }
} // namespace varfield::testing

/// That `text` has `part` in it; both are shown if not.
#define CHECK_CONTAINS(text, part)                                                                                     \
  do                                                                                                                   \
  {                                                                                                                    \
    const std::string the_text = (text), the_part = (part);                                                            \
    BOOST_CHECK_MESSAGE(the_text.find(the_part) != std::string::npos,                                                  \
                        "“" << the_part << "” is missing in “" << the_text << "”");                                    \
  } while (false)

#endif
