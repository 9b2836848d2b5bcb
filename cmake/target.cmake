# ccache keeps a rebuild of unchanged files at seconds; the sloppiness is what a precompiled header asks for.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
endif()

# What every target of the project is compiled with. The flags have to be the same for all targets that share the
# precompiled header. Debian's Release flags of deal.II carry -g, which -g0 takes back: files compile faster.
function(varfield_target target)
  deal_ii_setup_target(${target})
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/include)
  target_include_directories(${target} SYSTEM PRIVATE ${RANDOM123_INCLUDE})
  # The property: whether target_link_libraries() takes PRIVATE here depends on the version of deal.II's macros.
  set_property(TARGET ${target} APPEND PROPERTY LINK_LIBRARIES Eigen3::Eigen nlohmann_json::nlohmann_json CLI11::CLI11)
  # Eigen's dense products go to the BLAS that the system provides.
  target_compile_definitions(${target} PRIVATE EIGEN_USE_BLAS)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-psabi -fpch-preprocess $<$<CONFIG:Release>:-g0>)
  if(VARFIELD_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
