find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# Several files in one compilation: the headers of deal.II cost more than what follows them. From nothing and on two cores
# this takes a third of the time of one file at a time with a precompiled header. A name in an anonymous namespace must
# not occur in two files.
set(CMAKE_UNITY_BUILD ON CACHE BOOL "Several files in one compilation")
set(CMAKE_UNITY_BUILD_BATCH_SIZE 8 CACHE STRING "How many")

# What every target of the project is compiled with. Debian's Release flags of deal.II carry -g, which -g0 takes back: files
# compile faster.
function(varfield_target target)
  deal_ii_setup_target(${target})
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/include)
  target_include_directories(${target} SYSTEM PRIVATE ${RANDOM123_INCLUDE})
  # The property: whether target_link_libraries() takes PRIVATE here depends on the version of deal.II's macros.
  set_property(TARGET ${target} APPEND PROPERTY LINK_LIBRARIES Eigen3::Eigen nlohmann_json::nlohmann_json CLI11::CLI11)
  # Eigen's dense products go to the BLAS that the system provides.
  target_compile_definitions(${target} PRIVATE EIGEN_USE_BLAS)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-psabi $<$<CONFIG:Release>:-g0>)
  if(VARFIELD_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
