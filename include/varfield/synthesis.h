#ifndef varfield_synthesis_h
#define varfield_synthesis_h

#include <varfield/case.h>

namespace varfield
{
  /// Solves the model at the truth (or at a draw of the prior), adds an error of the noise model to every prediction
  /// and writes the measurement files. Returns lines for the terminal. The problem was built without values. UserError
  /// where a file exists and must not be overwritten. Collective.
  template <int dim>
  std::vector<std::string> synthesize(const Case<dim> &problem);
} // namespace varfield

#endif
