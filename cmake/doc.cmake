# `cmake --build --preset release --target doc` writes the manual of the public headers to build/release/doc/html.
find_package(Doxygen QUIET OPTIONAL_COMPONENTS dot)
if(DOXYGEN_FOUND)
  set(VARFIELD_HAVE_DOT NO)
  if(TARGET Doxygen::dot)
    set(VARFIELD_HAVE_DOT YES)
  endif()
  configure_file(${CMAKE_SOURCE_DIR}/doc/Doxyfile ${CMAKE_BINARY_DIR}/Doxyfile @ONLY)
  add_custom_target(doc COMMAND Doxygen::doxygen ${CMAKE_BINARY_DIR}/Doxyfile
                    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} COMMENT "Writing ${CMAKE_BINARY_DIR}/doc/html/index.html" VERBATIM)
endif()
