// ranks: 1 2 3 4
#include "linear_case.h"
#include "messages.h"
#include "scratch_file.h"

#include <boost/test/unit_test.hpp>
#include <varfield/hyper_inference.h>
#include <varfield/scan.h>

BOOST_AUTO_TEST_SUITE(scan)

using namespace varfield;
using namespace varfield::tests;
using varfield::testing::message_of;

namespace
{
  std::unique_ptr<Case<2>> case_to_scan(const ScratchFile &file, std::vector<std::string> overrides = {})
  {
    for (const std::string &text :
         {"Scan/File=" + file.path, std::string("Mesh/Subdivisions=8, 8"), std::string("Inference/Minimum draws=50")})
      overrides.push_back(text);
    return linear_case(overrides);
  }

  ModelScan scanned(const Case<2> &problem)
  {
    const Silence silence;
    const Report report(problem.groups(), 0.);
    return varfield::scan(problem, read_variants(problem), report);
  }

  const std::string header = "name,Fields/f/spde/Correlation length,Measurements/u/gaussian/Standard deviation\n";
} // namespace

/// Linear and Gaussian: evidences are known in closed form, and so are their differences; the same numbers with groups.
BOOST_AUTO_TEST_CASE(evidences_of_a_linear_problem)
{
  const ScratchFile file("scan_variants.csv", header + "as it is,,\nlonger,0.8,\nnoisier,,0.02\n");
  int n_ranks = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
  for (const int groups : {1, n_ranks})
  {
    const auto problem    = case_to_scan(file, {"Parallel/Sample groups=" + std::to_string(groups)});
    const auto variants   = read_variants(*problem);
    const ModelScan found = scanned(*problem);
    BOOST_REQUIRE_EQUAL(found.variants.size(), 3u);
    std::vector<double> exact;
    for (const Variant &variant : variants)
    {
      const auto changed = problem->variant(variant.changes);
      changed->check();
      changed->build();
      exact.push_back(exact_log_evidence(*changed));
    }
    const double best = *std::max_element(exact.begin(), exact.end());
    double sum        = 0.;
    for (const double evidence : exact)
      sum += std::exp(evidence - best);
    for (std::size_t i = 0; i < exact.size(); ++i)
    {
      const VariantResult &row = found.variants[i];
      BOOST_TEST(std::abs(row.log_evidence - exact[i]) < 1e-5, row.name << ": " << row.log_evidence - exact[i]);
      BOOST_TEST(std::abs(row.elbo - exact[i]) < 1e-5);
      BOOST_TEST(std::abs(row.difference - (exact[i] - best)) < 1e-5);
      BOOST_TEST(std::abs(row.probability - std::exp(exact[i] - best) / sum) < 1e-5);
      BOOST_TEST(row.converged);
      BOOST_TEST(row.status == "converged");
      BOOST_TEST(row.k < 0.5);
      BOOST_TEST(row.reduced_chi2 > 0.2);
      BOOST_TEST(row.reduced_chi2 < 3.);
      BOOST_TEST(row.solves > 0.);
    }
    BOOST_TEST(std::abs(exact[1] - exact[0]) > 0.1);
    BOOST_TEST(std::abs(exact[2] - exact[0]) > 0.1);
    BOOST_TEST(found.lines().size() == 4u);
    BOOST_TEST(found.rows().size() == 3u);
  }
}

/// A variant with hyper-parameters has the evidence of fields and scales together; one that fails does not stop it.
BOOST_AUTO_TEST_CASE(scales_and_failures)
{
  const ScratchFile file("scan_variants.csv",
                         "name,Hyperparameters/Names,Hyperparameters/sigma/Parameter,Hyperparameters/sigma/Prior,"
                         "Hyperparameters/sigma/lognormal/Median,Faults/Probability\n"
                         "hopeless,,,,,1\n"
                         "scales,sigma,Fields/f/spde/Standard deviation,lognormal,4,\n");
  int n_ranks = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
  const auto problem    = case_to_scan(file, {"Parallel/Sample groups=" + std::to_string(n_ranks)});
  const auto variants   = read_variants(*problem);
  const ModelScan found = scanned(*problem);
  BOOST_TEST(found.variants[0].status.rfind("failed: ", 0) == 0u);
  BOOST_TEST(std::isnan(found.variants[0].log_evidence));
  BOOST_TEST(std::isnan(found.variants[0].probability));
  BOOST_TEST(found.variants[1].probability == 1.);
  auto alone = problem->variant(variants[1].changes);
  alone->check();
  alone->build();
  const Silence silence;
  Report report(alone->groups(), 0.);
  const Results<2> expected = infer_with_hyper_parameters(alone, {}, report);
  BOOST_TEST(std::abs(found.variants[1].log_evidence - expected.hyper->log_evidence) < 1e-9);
}

/// Whatever is wrong in any of the variants is found before the first inference, and named.
BOOST_AUTO_TEST_CASE(mistakes_in_variants_are_named)
{
  const auto message = [](const std::string &text)
  {
    const ScratchFile file("scan_variants.csv", text);
    const auto problem = case_to_scan(file);
    return message_of([&] { read_variants(*problem); });
  };
  const std::string fine = "fine,,\n";
  CHECK_CONTAINS(message("name,Fields/f/spde/Corelation length\nfine,\nodd,1\n"), "line 3, variant “odd”");
  CHECK_CONTAINS(message("name,Fields/f/spde/Corelation length\nfine,\nodd,1\n"), "Correlation length");
  CHECK_CONTAINS(message(header + fine + "odd,a,\n"), "variant “odd”");
  CHECK_CONTAINS(message(header + fine + "odd,,-1\n"), "variant “odd”");
  CHECK_CONTAINS(message("name,Inference/Method\nfine,\nodd,map\n"), "no evidence");
  CHECK_CONTAINS(message("name,Dimension\nodd,3\n"), "cannot differ between variants");
  CHECK_CONTAINS(message("name,Output/Directory\nodd,a\n"), "common to all variants");
  CHECK_CONTAINS(message("variant,Inference/Method\nodd,\n"), "first column has to be “name”");
  CHECK_CONTAINS(message(header + "twice,,\ntwice,,\n"), "occurs twice");
  CHECK_CONTAINS(message_of([] { read_variants(*linear_case({})); }), "Scan/File");

  // Other data: fewer of them, some held out, one changed.
  CHECK_CONTAINS(message("name,Measurements/u/File\nodd,\"" + source_folder() + "/tests/data/one_sensor.csv\"\n"),
                 "it has 1 measurement, but the case has 36");
  CHECK_CONTAINS(message("name,Measurements/u/Held out\nfine,\nodd,value=0.04898263\n"), "line 3, variant “odd”");
  CHECK_CONTAINS(message("name,Measurements/u/Held out\nfine,\nodd,value=0.04898263\n"), "is held out");
  const ScratchFile file("scan_variants.csv", header + "odd,,\n");
  const auto problem = case_to_scan(file);
  Vector values      = problem->measurements().values();
  values[7] += 0.1;
  problem->set_measured(values);
  CHECK_CONTAINS(message_of([&] { read_variants(*problem); }), "in its place");
}

BOOST_AUTO_TEST_SUITE_END()
