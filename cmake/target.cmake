find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# Several files in one compilation: the headers of deal.II cost as much as what follows them. A name in an anonymous
# namespace must not occur in two files.
set(CMAKE_UNITY_BUILD ON CACHE BOOL "Several files in one compilation")
set(CMAKE_UNITY_BUILD_BATCH_SIZE 15 CACHE STRING "How many")

# What every target of the project is compiled with. Debian's Release flags of deal.II carry -g and -funroll-all-loops, which
# are taken back: files compile faster, and the program is as fast.
function(varfield_target target)
  deal_ii_setup_target(${target})
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/include)
  target_include_directories(${target} SYSTEM PRIVATE ${RANDOM123_INCLUDE} ${MUMPS_INCLUDE} ${HTTPLIB_INCLUDE} ${KLU_INCLUDE})
  # The property: whether target_link_libraries() takes PRIVATE here depends on the version of deal.II's macros.
  set_property(TARGET ${target} APPEND PROPERTY LINK_LIBRARIES Eigen3::Eigen nlohmann_json::nlohmann_json CLI11::CLI11 ${MUMPS_LIBRARY} ${KLU_LIBRARY} ${HTTPLIB_LIBRARY})
  # Eigen's dense products go to the BLAS that the system provides.
  target_compile_definitions(${target} PRIVATE EIGEN_USE_BLAS)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-psabi $<$<CONFIG:Release>:-g0> $<$<CONFIG:Release>:-fno-unroll-all-loops> $<$<CONFIG:Release>:-fno-unroll-loops>)
  if(VARFIELD_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
