#ifndef varfield_certification_settings_h
#define varfield_certification_settings_h

#include <varfield/chains.h>

namespace varfield
{
  /// How chains judge a variational posterior q.
  struct CertificationSettings
  {
    void add_parameters(dealii::ParameterHandler &prm);
    void check() const;

    bool enabled       = false;    ///< as the last phase of every run
    std::string method = "chains"; ///< or weights
    ChainSettings chains;
    double mean_tolerance = 0.2, spread_tolerance = 0.2, share = 0.95;
    bool correct = true;
  };
} // namespace varfield

#endif
